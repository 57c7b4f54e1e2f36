// Copies the text of the element that a button names. Without this script the buttons stay hidden.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const words = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const selection = getSelection();
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // No clipboard outside https and localhost: the text is selected for the person to copy.
      selection.selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
    document.querySelector("[data-copied]").textContent = button.textContent;
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}
