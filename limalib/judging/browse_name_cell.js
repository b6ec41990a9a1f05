function (cell, text, row, index, column) {
  cell.dataset.name = this.api().column(column).header().textContent;
}
