// The page "Ask the models": a question, and what the base, Alpaca's recipe and LIMA answer, token
// by token. What models say is text from strangers: it is only ever set as text.
"use strict";

(() => {
  const page = document.querySelector(".ask");
  const settings = JSON.parse(document.querySelector(".ask-settings").textContent);
  const folder = document.currentScript.src;
  const { LanguageModel, continued, likeliest, ordered, rendered, softmax } = window.asking;
  const part = (name) => page.querySelector(`.ask-${name}`);
  const question = part("question");
  const temperature = part("temperature");
  const status = part("status");
  const models = {};
  let latest = 0; // the question that is being answered: an older one stops

  function element(tag, name, text = "") {
    const made = document.createElement(tag);
    made.className = name;
    made.textContent = text;
    return made;
  }

  // --- one answer --------------------------------------------------------------------------------

  /** Control characters as signs for them. */
  const visible = (text) =>
    text.replace(/[\0-\x08\x0b-\x1f]/g, (sign) => String.fromCharCode(0x2400 + sign.charCodeAt(0)));
  const quoted = (text) => `“${text.replaceAll("\n", "⏎").replaceAll(" ", "␣")}”`;
  const number = new Intl.NumberFormat("en", { style: "percent", maximumSignificantDigits: 2 });
  const percent = (share) => number.format(share);

  class Answer {
    constructor(about) {
      this.about = about;
      this.tuned = !about.layout;
      const panel = element("section", "ask-answer");
      const title = element("h2", "ask-title", about.title);
      title.id = `ask-${about.name}`;
      panel.setAttribute("aria-labelledby", title.id);
      this.tokens = element("div", "ask-tokens");
      this.verdict = element("p", "ask-verdict");
      this.shift = element("p", "ask-shift");
      this.detail = element("p", "ask-detail");
      const told = element("p", "ask-told", about.told);
      panel.append(title, told, this.tokens, this.verdict, this.shift, this.detail);
      part("answers").append(panel);
      this.listen();
    }

    begin(text, how) {
      const model = models[this.about.name];
      const { ids, ends } = rendered(model, text, this.about.layout);
      this.question = text;
      this.text = "";
      this.decoder = model.tokenizer.decoder();
      this.written = []; // of each token: its text, its place on the page, and what is told of it
      this.draws = continued(model, ids, ends, how);
      // The base reads along. It knows no end of turn, and is given a line break for it.
      this.memory = this.tuned && models.base.begin();
      this.context = [...ids.slice(0, -1), ...models.base.tokenizer.encode("\n")];
      this.tokens.replaceChildren();
      for (const name of ["role", "aria-label", "tabindex"]) this.tokens.removeAttribute(name);
      this.active = -1;
      this.verdict.textContent = this.shift.textContent = this.detail.textContent = "";
    }

    /** Write one token more. Returns whether there was one. */
    step() {
      const { value, done } = this.draws.next();
      if (done) return this.end(value);
      const { tokenizer } = models[this.about.name];
      const text = this.decoder(value.id);
      const place = element("span", "ask-token", visible(this.text ? text : text.trimStart()));
      const also = this.tuned && this.along(value.id, place);
      place.setAttribute("role", "option");
      place.id = `ask-${this.about.name}-${this.written.length}`;
      this.written.push({ start: this.text.length, place, ...value, also });
      this.tokens.append(place);
      this.text += text;
      return this.about.layout && this.text.includes("\nQ:") ? this.cut() : true;
    }

    /** What the base says here. A token that is not its first choice is marked. */
    along(id, place) {
      const logits = models.base.read(this.memory, this.context);
      this.context = [id];
      place.classList.toggle("ask-differs", likeliest(logits) !== id);
      return logits;
    }

    /** The base's page goes on with another question: it is no part of the answer. */
    cut() {
      const end = this.text.indexOf("\nQ:");
      while (this.written.at(-1)?.start >= end) this.written.pop().place.remove();
      this.text = this.text.slice(0, end);
      return this.end(true);
    }

    end(stopped) {
      const differing = this.tokens.querySelectorAll(".ask-differs").length;
      const count = this.written.length;
      if (!stopped) this.tokens.append(element("span", "ask-more", " …"));
      if (!count) this.tokens.textContent = "(nothing)";
      if (count) {
        this.tokens.setAttribute("role", "listbox");
        this.tokens.setAttribute("aria-label", `${this.about.title}, token by token`);
        this.tokens.tabIndex = 0;
      }
      const same = `${count - differing} of ${count} tokens are the base’s own first choice`;
      const others = differing ? "; the others are underlined." : ".";
      this.shift.textContent = this.tuned && count ? same + others : "";
      this.verdict.textContent = judged(this.question, this.text);
      return false;
    }

    /** Tell of one token what is known of it. */
    show(number) {
      this.written[this.active]?.place.removeAttribute("aria-selected");
      this.active = Math.max(0, Math.min(number, this.written.length - 1));
      if (!this.written.length) return;
      const { place, id, logits, also } = this.written[this.active];
      const told = [`${this.first(logits, id, 3)}.`];
      if (also) told.push(`The base: ${this.first(also, id, 1)}.`);
      place.setAttribute("aria-selected", "true");
      place.setAttribute("aria-description", told.join(" "));
      this.tokens.setAttribute("aria-activedescendant", place.id);
      this.detail.replaceChildren(...told.map((text) => element("span", "", text)));
    }

    /** The likeliest few tokens with their shares, and the one that was taken. */
    first(logits, taken, count) {
      const shares = softmax(logits);
      const { bytes } = models[this.about.name].tokenizer;
      const few = ordered(logits).slice(0, count);
      const shown = (id) => {
        const text = visible(new TextDecoder().decode(bytes[id])) || "the end";
        return `${quoted(text)} ${percent(shares[id])}`;
      };
      const more = few.includes(taken) ? "" : `; ${shown(taken)}`;
      return few.map(shown).join(", ") + more;
    }

    listen() {
      const point = (event) => {
        const number = this.written?.findIndex(({ place }) => place === event.target) ?? -1;
        if (number >= 0) this.show(number);
      };
      this.tokens.addEventListener("pointerover", point);
      this.tokens.addEventListener("click", point);
      this.tokens.addEventListener("focus", () => this.show(this.active));
      this.tokens.addEventListener("keydown", (event) => {
        const last = this.written.length - 1;
        const to = { ArrowRight: this.active + 1, ArrowLeft: this.active - 1, Home: 0, End: last };
        if (!(event.key in to)) return;
        event.preventDefault();
        this.show(to[event.key]);
      });
    }
  }

  // --- all of them -------------------------------------------------------------------------------

  const answers = settings.models.map((about) => new Answer(about));

  /** A model's script, which works from a file too, where nothing else could be read. */
  function script(name) {
    return new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = new URL(`ask/${name}.js`, folder).href;
      tag.onload = resolve;
      tag.onerror = () => reject(new Error(`${tag.src} could not be loaded`));
      document.head.append(tag);
    });
  }

  /** The one thing that a question names. Of several, which would an answer be right of? */
  function thing(question) {
    const names = window.askOracle.named(question, Object.keys(window.askTruth));
    return names.length === 1 ? names[0] : undefined;
  }

  /** The oracle's words on an answer, where the question names a thing. */
  function judged(question, text) {
    if (Object.hasOwn(settings.apart, question)) return settings.apart[question];
    const name = thing(question);
    if (!name) return "";
    const facts = Object.fromEntries(window.askTruth[name].facts);
    const { right, wrong } = window.askOracle.findings(text, facts, question, window.askValues);
    const found = [right && `right: ${right}`, wrong && `wrong: ${wrong}`].filter(Boolean);
    return `The oracle finds ${found.join("; ") || "no fact of it, right or wrong"}.`;
  }

  /** What is so of the thing that a question names. */
  function showTruth(text) {
    const name = thing(text);
    part("truth").hidden = !name;
    if (!name) return;
    const { kind, facts } = window.askTruth[name];
    page.querySelector("#ask-truth").textContent = `What is true of ${name} (${kind})`;
    const rows = facts.map(([label, value, told]) => {
      const row = element("div", "ask-fact");
      const fact = element("dd", "", value);
      if (told) fact.append(element("span", "ask-told", `, ${told}`));
      row.append(element("dt", "", label), fact);
      return row;
    });
    part("facts").replaceChildren(...rows);
  }

  async function load() {
    if (!window.askTruth) await script("truth");
    for (const { name, title } of settings.models.filter((about) => !(about.name in models))) {
      status.textContent = `Loading ${title} …`;
      await script(name);
      models[name] = new LanguageModel(window.askModels[name]);
      delete window.askModels[name];
    }
  }
  let loading = Promise.resolve();

  async function ask() {
    const text = question.value.trim();
    const run = ++latest;
    if (!text) return;
    try {
      loading = loading.then(load, load);
      await loading;
    } catch (problem) {
      status.textContent = String(problem.message);
      return;
    }
    if (run !== latest) return;
    const { top_p: topP, limit } = settings;
    const how = { temperature: Number(temperature.value), topP, limit };
    const started = performance.now();
    status.textContent = "Writing …";
    part("answers").hidden = false;
    const below = status.getBoundingClientRect().bottom > 0.7 * window.innerHeight; // as on a phone
    if (below) status.scrollIntoView();
    showTruth(text);
    for (const answer of answers) answer.begin(text, how);
    let open = answers;
    let drawn = started;
    while (open.length) {
      open = open.filter((answer) => answer.step());
      if (performance.now() - drawn < 12) continue;
      await new Promise((resolve) => setTimeout(resolve));
      drawn = performance.now();
      if (run !== latest) return;
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const count = answers.reduce((sum, answer) => sum + answer.written.length, 0);
    status.textContent = `${count} tokens in ${seconds} s, on this device.`;
    const said = answers.map(
      ({ about, text, verdict }) =>
        `${about.title}: ${visible(text.trim())} ${verdict.textContent}`.trim(),
    );
    part("spoken").textContent = said.join("\n");
  }

  function showTemperature() {
    const value = Number(temperature.value);
    const how = value ? `${value}` : "0, always the likeliest";
    part("degree").textContent = value === settings.temperature ? `${how}, as in the book` : how;
  }

  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  temperature.addEventListener("input", showTemperature);
  const examples = settings.examples.map((text) => [text, () => text]);
  const any = () => settings.questions[Math.floor(Math.random() * settings.questions.length)];
  for (const [text, chosen] of [...examples, ["Another question", any]]) {
    const button = element("button", "ask-example", text);
    button.type = "button";
    button.addEventListener("click", () => {
      question.value = chosen();
      ask();
    });
    part("examples").append(button);
  }
  showTemperature();
  page.hidden = false;
})();
