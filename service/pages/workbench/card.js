// A model's card: the few facts of its manifest, then its own text.

import { byId, element, text } from "./dom.js";
import { plain } from "./words.js";

const known = new Map();

/** Fetch a model; the same one only once. */
export async function model(id) {
  if (!known.has(id)) {
    const answer = await fetch(`/v1/models/${encodeURIComponent(id)}`);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    known.set(id, await answer.json());
  }
  return known.get(id);
}

export function showCard(found) {
  const { manifest } = found;
  text("card-title", found.title || found.id);
  const facts = {
    model: found.id,
    sha256: found.sha256.slice(0, 12),
    weights: found.weights,
    precision: found.precision,
    licence: found.licence,
    classes: (manifest.labels ?? []).map(plain).join(", "),
    cost: `${round(manifest.cost.gmac_per_frame)} GMAC a frame, ${round(manifest.cost.gmac_per_window)} a window`,
    "valence and arousal": manifest.affect?.source ? `derived: ${manifest.affect.source}` : undefined,
  };
  byId("card-facts").replaceChildren(
    ...Object.entries(facts)
      .filter(([, value]) => value)
      .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
  byId("card-text").replaceChildren(...blocks(found.card));
}

const round = (gmac) => Number(gmac.toPrecision(3));

/** The little of Markdown that cards use: headings, lists, tables, paragraphs. */
function* blocks(markdown) {
  for (const block of markdown.trim().split(/\n\s*\n/)) {
    const lines = block.split("\n");
    const heading = /^(#+)\s+(.*)/.exec(lines[0]);
    if (heading) {
      yield element("h3", {}, ...inline(heading[2]));
      lines.shift();
    }
    if (!lines.length) continue;
    if (lines.every((line) => line.startsWith("|"))) yield table(lines);
    else if (/^[-*] /.test(lines[0])) yield element("ul", {}, ...items(lines));
    else yield element("p", {}, ...inline(lines.join(" ")));
  }
}

function items(lines) {
  const found = [];
  for (const line of lines) {
    if (/^[-*] /.test(line)) found.push(line.slice(2));
    else found[found.length - 1] += ` ${line.trim()}`;
  }
  return found.map((item) => element("li", {}, ...inline(item)));
}

function table(lines) {
  const rows = lines.filter((line) => !/^\|[\s:|-]+$/.test(line)).map((line) => line.replace(/^\||\|\s*$/g, "").split("|"));
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell) => element(tag, {}, ...inline(cell.trim()))));
  const [head, ...body] = rows;
  const whole = element("table", {}, element("thead", {}, row(head, "th")), element("tbody", {}, ...body.map((cells) => row(cells, "td"))));
  return element("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Table of the model card" }, whole);
}

function inline(words) {
  return words.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`") && part.length > 2) return element("code", {}, part.slice(1, -1));
    if (part.startsWith("**") && part.length > 4) return element("strong", {}, part.slice(2, -2));
    return part;
  });
}
