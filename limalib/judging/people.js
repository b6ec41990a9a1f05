// The judging page: shows what Python sends, as text and never as HTML, and says what was chosen.
// Which system wrote an answer is not known here.

const KEYS = {
  1: "left", ArrowLeft: "left",
  2: "neither", ArrowDown: "neither",
  3: "right", ArrowRight: "right",
  u: "undo", U: "undo",
};
const PATIENCE = 4000; // milliseconds until a kernel counts as slow

function render({ model, el }) {
  el.innerHTML = model.get("shell"); // the package's own template, with nothing filled in
  const page = el.querySelector(".limalib-judging");
  const form = page.querySelector("form");
  const slot = (name) => page.querySelector(`[data-slot="${name}"]`);
  const buttons = [...page.querySelectorAll("button")];
  let waiting = null;

  function show() {
    clearTimeout(waiting);
    waiting = null;
    const view = model.get("view");
    page.dataset.state = view.state;
    for (const name of ["annotator", "count", "notice", "left", "right"])
      slot(name).textContent = view[name];
    slot("turns").replaceChildren(...view.turns.map(turn));
    const progress = page.querySelector("progress");
    progress.max = view.total;
    progress.value = view.done;
    for (const button of buttons) button.disabled = false;
    page.querySelector('[data-act="undo"]').disabled = !view.undoable;
    if (view.state === "name") form.elements.annotator.value = view.annotator;
  }

  function say(content) {
    if (waiting !== null) return; // the last choice is not kept yet
    for (const button of buttons) button.disabled = true;
    waiting = setTimeout(() => {
      slot("notice").textContent =
        "The kernel has not answered. Your last choice counts once the number of judged pairs " +
        "changes; if it does not, run the cell again.";
    }, PATIENCE);
    model.send({ ...content, token: model.get("view").token });
  }

  function act(name) {
    const state = page.dataset.state;
    if (name === "undo" ? !model.get("view").undoable : name !== "leave" && state !== "pair") return;
    say({ act: name });
    // A button that was pressed is disabled and would lose the focus, and the keys with it.
    page.focus({ preventScroll: true });
  }

  function press(event) {
    event.stopPropagation(); // the notebook has shortcuts of its own on the same keys
    const name = KEYS[event.key];
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    if (!name || modified || event.target.matches("input")) return;
    event.preventDefault();
    if (!event.repeat) act(name); // a key held down judges one pair
  }

  page.addEventListener("keydown", press);
  page.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button) act(button.dataset.act);
    // A click on the text gives the page the keys.
    else if (!event.target.closest("form") && !String(getSelection())) page.focus({ preventScroll: true });
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say({ act: "start", annotator: form.elements.annotator.value });
    page.focus({ preventScroll: true });
  });
  model.on("change:view", show);
  show();
  return () => {
    clearTimeout(waiting);
    model.off("change:view", show);
  };
}

function turn({ role, text }) {
  const block = document.createElement("div");
  block.className = role;
  for (const [name, content] of [["role", role === "user" ? "Prompt" : "Answer so far"], ["text", text]]) {
    const part = document.createElement("div");
    part.className = name;
    part.textContent = content;
    block.append(part);
  }
  return block;
}

export default { render };
