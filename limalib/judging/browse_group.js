function (rows) {
  const [prompt, kind] = rows.data()[0];
  const head = document.createElement("div");
  head.innerHTML = `<span class="answers-kind">${kind}</span>${prompt}`;
  return head;
}
