function () {
  // Filters above the table of answers, and the button that shows who wrote what. DataTables calls
  // this at every draw: itables 2.9 hands no `initComplete` on. Cells hold escaped text, so values
  // are compared as they are.
  const table = this.api();
  if (table.table().container().querySelector(".limalib-filters")) return;
  const number = (name) => table.columns().header().toArray().findIndex((h) => h.textContent === name);
  const plain = (html) => new DOMParser().parseFromString(html, "text/html").body.textContent;
  const bar = document.createElement("form");
  bar.className = "limalib-filters";
  bar.addEventListener("submit", (event) => event.preventDefault());

  function filter(name) {
    const column = number(name);
    const label = document.createElement("label");
    const select = document.createElement("select");
    const values = table.column(column).data().unique().sort().toArray();
    for (const value of ["", ...values]) {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = value === "" ? "all" : plain(value);
      select.append(option);
    }
    select.addEventListener("change", () => {
      const wanted = select.value;
      table.search.fixed(name, wanted && ((text, row) => row[column] === wanted)).draw();
    });
    label.append(`${name} `, select);
    bar.append(label);
    return label;
  }

  filter("kind");
  filter("grade");
  const system = filter("system");
  const reveal = document.createElement("button");
  reveal.type = "button";
  bar.append(reveal);
  function show(revealed) {
    reveal.textContent = revealed ? "Hide who wrote what" : "Show who wrote what";
    reveal.setAttribute("aria-pressed", revealed);
    system.hidden = !revealed;
    table.column(number("system")).visible(revealed);
    if (!revealed) {
      system.querySelector("select").value = "";
      table.search.fixed("system", "");
    }
  }
  reveal.addEventListener("click", () => {
    show(reveal.getAttribute("aria-pressed") === "false");
    table.draw(false);
  });
  table.table().container().prepend(bar);
  show(false);
}
