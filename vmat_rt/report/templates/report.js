"use strict";
(function () {
  const plot = document.getElementById("dvh");
  const failed = document.getElementById("dvh-failed");
  const figure = JSON.parse(document.getElementById("dvh-figure").textContent);
  const config = {
    responsive: true, displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { filename: "dvh", scale: 2 },
  };
  function show(error) {
    failed.textContent = "The DVH could not be drawn (" + error.message + "); the curves are in dvh.csv.";
    failed.style.display = "block";
  }
  try {
    Plotly.newPlot(plot, figure.data, figure.layout, config).catch(show);
  } catch (error) {
    show(error);
    return;
  }
  // On paper the plot takes the width of an A4 page between its margins.
  window.addEventListener("beforeprint", () => Plotly.relayout(plot, { width: 700, autosize: false }));
  window.addEventListener("afterprint", () => Plotly.relayout(plot, { width: null, autosize: true }));
  // A box hides one dose's curves by making them transparent, so the legend's own toggles keep working.
  for (const box of document.querySelectorAll("input[data-source]")) {
    box.addEventListener("change", function () {
      const indices = figure.data.map((trace, i) => (trace.meta === box.dataset.source ? i : -1)).filter((i) => i >= 0);
      Plotly.restyle(plot, { opacity: box.checked ? 1 : 0, hoverinfo: box.checked ? "all" : "skip" }, indices);
    });
  }
})();
