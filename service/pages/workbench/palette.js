// Colours of the classes, and the theme.

const NAMED = {
  neutral: "#9aa5b5",
  happy: "#f0b429",
  happiness: "#f0b429",
  sad: "#4a90d9",
  sadness: "#4a90d9",
  angry: "#e5533c",
  anger: "#e5533c",
  fearful: "#9b6dd7",
  fear: "#9b6dd7",
  disgusted: "#5fa84f",
  disgust: "#5fa84f",
  surprised: "#22b8c4",
  surprise: "#22b8c4",
  contempt: "#c2748f",
};
const OTHERS = ["#f0b429", "#4a90d9", "#5fa84f", "#e5533c", "#9b6dd7", "#22b8c4", "#c2748f", "#9aa5b5"];
const given = new Map();

/** The colour of a class: the same wherever it is shown. */
export function colourOf(label) {
  if (NAMED[label]) return NAMED[label];
  if (!given.has(label)) given.set(label, OTHERS[given.size % OTHERS.length]);
  return given.get(label);
}

/** A custom property of the style sheet, as it is in the theme in force. */
export function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Make `button` switch the theme; `changed` is called whenever colours are others now. */
export function themes(button, changed) {
  const stored = localStorage.getItem("mien.theme");
  if (stored === "dark" || stored === "light") document.documentElement.dataset.theme = stored;
  const inForce = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  const show = () => {
    const other = inForce() === "dark" ? "light" : "dark";
    button.textContent = other === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
  };
  button.addEventListener("click", () => {
    const next = inForce() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("mien.theme", next);
    show();
    changed();
  });
  dark.addEventListener("change", () => {
    show();
    changed();
  });
  show();
}
