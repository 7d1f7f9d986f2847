// The filter of the goal tables: all goals, those that are missed or near, or the missed ones.

const KEPT = { all: ["missed", "near", "clear"], near: ["missed", "near"], missed: ["missed"] };

/** Hide the rows whose urgency the chosen filter leaves out; a hidden row's structure name moves to the next one. */
export function bindGoalFilter(root) {
  for (const input of root.querySelectorAll("[name=goal-filter]")) {
    input.addEventListener("change", () => applyGoalFilter(root, input.value));
  }
}

/** Show the rows of one filter: "all", "near" or "missed". */
export function applyGoalFilter(root, filter) {
  for (const table of root.querySelectorAll("table.goals")) {
    let named = null;
    for (const row of table.querySelectorAll("tbody tr")) {
      row.hidden = !KEPT[filter].includes(row.dataset.urgency);
      if (row.hidden) continue;
      row.classList.toggle("first", row.dataset.structure !== named);
      named = row.dataset.structure;
    }
  }
}
