// What an answer states of a thing, right and wrong: the findings of miniature/oracle.py, for the
// page "Ask the models". tests/book/test_ask.py holds both to the same words.
"use strict";

window.askOracle = (() => {
  const LETTER = "[\\p{L}\\p{N}_]";
  const NEGATION = words(
    ["not", "never", "no longer", "isn't", "doesn't", "nobody", "wrongly"],
    "iu",
  );

  /** Any of some phrases, none of them within a word, the longest first. */
  function words(phrases, flags) {
    const plain = [...phrases]
      .sort((a, b) => b.length - a.length)
      .map((phrase) => phrase.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&"));
    return new RegExp(`(?<!${LETTER})(?:${plain.join("|")})(?!${LETTER})`, flags);
  }

  const sentences = (text) =>
    (text.match(/[^.!?\n]+[.!?]*/g) ?? [])
      .filter((part) => /[A-Za-z]/.test(part))
      .map((part) => part.trim());

  /** Which things a question names. */
  const named = (question, names) => names.filter((name) => words([name], "iu").test(question));

  /**
   * Names of the facts that a text has right, and what it has wrong. A value in a question is no
   * assertion, one in a negated sentence its contrary, and one that the question holds no error.
   */
  function findings(text, facts, question, values) {
    const right = new Set();
    const wrong = new Set();
    for (const sentence of sentences(text).filter((each) => !each.endsWith("?"))) {
      const negated = NEGATION.test(sentence);
      for (const [fact, phrases] of Object.entries(values)) {
        for (const [match] of sentence.matchAll(words(phrases, "giu"))) {
          const said = match.toLowerCase();
          const isFact = said === facts[fact].toLowerCase();
          if (isFact !== negated) right.add(fact);
          else if (isFact) wrong.add(`not ${fact}`);
          else if (!question.toLowerCase().includes(said)) wrong.add(`${fact}: ${match}`);
        }
      }
    }
    return { right: [...right].sort().join(", "), wrong: [...wrong].sort().join(", ") };
  }

  return { findings, named };
})();
