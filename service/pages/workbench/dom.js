// Three words for the document, so that the rest reads plainly. Text is only ever set as text.

export function byId(id) {
  return document.getElementById(id);
}

export function text(id, words) {
  const node = byId(id);
  if (node.textContent !== words) node.textContent = words;
}

export function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
