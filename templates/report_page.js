// What a report's page does besides its charts: theme, filters, copying a command.
"use strict";

function startTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const label = () => { button.textContent = now() === "dark" ? "Light" : "Dark"; };
  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    root.dataset.theme = now() === "dark" ? "light" : "dark";
    label();
    document.dispatchEvent(new Event("ql-theme"));
  });
  // Paper is white: charts are drawn again in its colours before a page is printed.
  let before;
  addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; });
  addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
  });
}

function startPrompts() {
  const form = document.getElementById("prompt-filter");
  if (!form) return;
  const rows = [...document.querySelectorAll(".prompt")];
  const said = document.getElementById("prompt-count");
  form.hidden = false;
  const tests = {
    all: () => true,
    wrong: (row) => row.dataset.right === "no",
    right: (row) => row.dataset.right === "yes",
    better: (row) => row.dataset.change === "better",
    worse: (row) => row.dataset.change === "worse",
    merged: (row) => row.dataset.merged === "differs",
  };
  const apply = () => {
    const wanted = form.elements.state.value, words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      row.hidden = !(tests[wanted](row) && words.every((word) => text.includes(word)));
      shown += !row.hidden;
    }
    said.textContent = `${shown} of ${rows.length} prompts shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("prompt-open").addEventListener("click", () => {
    const seen = rows.filter((row) => !row.hidden), open = seen.some((row) => !row.open);
    for (const row of seen) row.open = open;
  });
  apply();
}

function startPlan() {
  const box = document.getElementById("plan-yours");
  if (!box) return;
  box.closest("p").hidden = false;
  box.addEventListener("change", () => {
    for (const row of document.querySelectorAll("#plan tbody tr")) row.hidden = box.checked && !row.dataset.yours;
  });
}

function startCopy() {
  if (!navigator.clipboard) return;
  for (const block of document.querySelectorAll("pre.command")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy noprint";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.before(button);
  }
}

startTheme();
startPrompts();
startPlan();
startCopy();
