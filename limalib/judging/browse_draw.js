function () {
  // A search and filters above the table of answers, and the button that shows who wrote what.
  // A search finds prompts, with all their answers, by what any of these says; not by systems, which
  // would give its answers away. Filters pick answers. DataTables calls
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

  function search() {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "search";
    const rows = table.rows().data().toArray();
    const texts = rows.map((row) => plain(row.slice(0, number("system")).join(" ")).toLowerCase());
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/);
      const fits = (row, i) => words.every((word) => texts[i].includes(word));
      const prompts = new Set(rows.filter(fits).map(([prompt]) => prompt));
      table.search.fixed("words", (text, row) => prompts.has(row[0])).draw();
    });
    label.append("search ", input);
    bar.append(label);
  }

  search();
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
