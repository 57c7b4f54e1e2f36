// Keys for who works without a mouse: "/" to the search, "?" for the list of keys, "g" and a letter to a page. They are left
// alone while somebody types, and a person can switch them off (WCAG 2.2, 2.1.4).
"use strict";

(() => {
  const OFF = "matricula-keys-off";
  const FOLLOWS_MS = 1500;
  const list = document.getElementById("keys-list");
  if (!list) return;

  const pages = new Map([...list.querySelectorAll("a[data-key]")].map(link => [link.dataset.key, link]));
  const toggle = list.querySelector("[data-keys-off]");
  let wentAt = 0;

  toggle.checked = localStorage.getItem(OFF) === "yes";
  toggle.addEventListener("change", () => localStorage.setItem(OFF, toggle.checked ? "yes" : "no"));
  for (const button of document.querySelectorAll("[data-keys-open]")) {
    button.hidden = false;
    button.addEventListener("click", () => list.showModal());
  }

  const isTyping = target => target.closest("input, textarea, select, [contenteditable]") !== null;

  const search = () => {
    const field = document.getElementById("searchbar") ?? document.querySelector(".find input");
    field?.focus();
    field?.select();
    return Boolean(field);
  };

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || list.open) return;
    if (isTyping(event.target)) return;
    const isSecond = performance.now() - wentAt < FOLLOWS_MS;
    wentAt = 0;
    if (event.key === "?") {
      list.showModal();
    } else if (toggle.checked) {
      return;
    } else if (event.key === "/") {
      if (!search()) return;
    } else if (isSecond && pages.has(event.key)) {
      pages.get(event.key).click();
    } else if (event.key === "g") {
      wentAt = performance.now();
    } else {
      return;
    }
    event.preventDefault();
  });
})();
