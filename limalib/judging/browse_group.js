function (rows) {
  const [prompt, kind, truth] = rows.data()[0];
  const so = truth && `<span class="answers-truth">True: ${truth}</span>`;
  const head = document.createElement("div");
  head.innerHTML = `<span class="answers-kind">${kind}</span>${prompt}${so}`;
  return head;
}
