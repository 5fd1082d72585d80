// Two models side by side. Each model's scores are a script of their own, loaded when it is chosen, because a page that
// was opened from disk may not fetch. Names from cards are set as text, never parsed as markup.
"use strict";
window.preimage = { models: new Map(), model(told) { this.models.set(told.slug, told); } };
(() => {
  const pair = document.getElementById("pair");
  const place = document.getElementById("comparison");
  const said = pair.querySelector("[role=status]");
  const select = { a: pair.querySelector("[name=a]"), b: pair.querySelector("[name=b]") };
  const MINUS = "\u2212";

  const chosen = () => {
    const now = new URLSearchParams(location.hash.slice(1));
    const known = (letter) => [...select[letter].options].some((o) => o.value && o.value === now.get(letter));
    return { a: known("a") ? now.get("a") : "", b: known("b") ? now.get("b") : "" };
  };
  function choose(now) {
    const next = new URLSearchParams();
    for (const letter of ["a", "b"]) if (now[letter]) next.set(letter, now[letter]);
    location.hash = next.toString();
  }
  function load(slug) {
    if (window.preimage.models.has(slug)) return Promise.resolve(window.preimage.models.get(slug));
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `compare/${slug}.js`;
      script.onload = () => resolve(window.preimage.models.get(slug));
      script.onerror = () => reject(new Error(`the scores of this model are not there: compare/${slug}.js`));
      document.head.append(script);
    });
  }

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) if (value !== null) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const named = (text) => make("bdi", {}, text);

  // Replicates: [least, greatest, base64 of little-endian 16-bit steps between them].
  function unpacked([low, high, text]) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 2 }, (_, i) =>
      low + (high - low) * view.getUint16(2 * i, true) / 65535);
  }
  function percentile(sorted, share) {  // between neighbours, as numpy does
    const at = share * (sorted.length - 1);
    const below = Math.floor(at);
    const next = sorted[Math.min(below + 1, sorted.length - 1)];
    return sorted[below] + (at - below) * (next - sorted[below]);
  }
  function difference(a, b) {
    if (a.images === null || a.images !== b.images) return null;
    const [one, other] = [unpacked(a.replicates), unpacked(b.replicates)];
    if (one.length !== other.length) return null;
    const apart = one.map((value, i) => value - other[i]).sort();
    // Replicates are rounded to steps; what is 0 within their rounding is 0, as shares of few images often are.
    const [steps, others] = [a.replicates, b.replicates].map(([low, high]) => (high - low) / 65535);
    const end = (share) => {
      const at = percentile(apart, share);
      return Math.abs(at) <= (steps + others) / 2 * 1.000001 ? 0 : at;
    };
    return { value: a.value - b.value, low: end(0.025), high: end(0.975) };
  }

  function number(value, digits) {
    const text = Math.abs(value) > 0 && digits > 7 ? value.toExponential(1) : value.toFixed(Math.min(digits, 7));
    return (/[1-9]/.test(text) ? text : text.replace("-", "")).replace(/-/g, MINUS);
  }
  function digits(apart) {  // two of half the interval, as on the boards
    const half = (apart.high - apart.low) / 2 || Math.abs(apart.value);
    return half > 0 ? Math.max(1 - Math.floor(Math.log10(half)), 0) : 0;
  }

  const overlap = (a, b) => (a.low ?? a.value) <= (b.high ?? b.value) && (b.low ?? b.value) <= (a.high ?? a.value);
  function verdict(a, b, apart) {
    if (a.unit === "probability") return ["", "", "a p-value: it has no interval"];
    if (!apart && (a.low === null || b.low === null)) return ["", "", "no interval"];
    const tied = apart ? apart.low <= 0 && 0 <= apart.high : overlap(a, b);
    const doubt = a.doubt || b.doubt;
    if (doubt) return ["none", doubt, "a gap is too wide"];
    const how = apart ? "" : tied ? "intervals overlap; not paired" : "intervals are apart; not paired";
    if (tied) return ["tie", "tie", how];
    const higher = a.value > b.value ? "a" : "b";
    if (a.better === "none") return ["none", `${higher.toUpperCase()} is higher`, how];
    const best = (a.better === "higher") === (a.value > b.value) ? "a" : "b";
    return [best, `${best.toUpperCase()} is better`, how];
  }

  const SVG = "http://www.w3.org/2000/svg";
  function drawn(apart, better) {  // the interval beside 0; towards the left is in favour of A
    const [width, middle, height] = [140, 70, 24];
    const sign = better === "higher" ? -1 : 1;
    const reach = Math.max(Math.abs(apart.low), Math.abs(apart.high), 1e-300);
    const at = (value) => (middle + sign * value / reach * (middle - 6)).toFixed(1);
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({ class: "bar apart", width, height, "aria-hidden": "true", focusable: "false" })) svg.setAttribute(name, value);
    const add = (tag, attributes) => {
      const shape = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
      svg.append(shape);
    };
    add("path", { class: "zero", d: `M${middle} 0V${height}` });
    add("path", { class: "span", d: `M${at(apart.low)} 12H${at(apart.high)}` });
    add("circle", { cx: at(apart.value), cy: 12, r: 4 });
    return svg;
  }

  function cell(score) {
    const held = make("td", { class: "n" }, score.shown);
    if (score.interval) held.append(make("span", { class: "sub" }, score.interval));
    if (score.doubt) held.append(make("span", { class: "flag" }, `\u25b2 ${score.doubt}`));
    return held;
  }
  function line(a, b, tally) {
    const apart = difference(a, b);
    const [who, text, how] = verdict(a, b, apart);
    if (who && a.better !== "none") tally[who] = (tally[who] || 0) + 1;
    const between = make("td", { class: "n" });
    if (apart) {
      const places = digits(apart);
      between.append(`${apart.value > 0 ? "+" : ""}${number(apart.value, places)}`,
        make("span", { class: "sub" }, `[${number(apart.low, places)}, ${number(apart.high, places)}]`));
    } else between.append(make("span", { class: "sub" }, "no paired difference"));
    const better = { higher: "higher is better", lower: "lower is better" }[a.better];
    return make("tr", { "data-verdict": who },
      make("th", { scope: "row", title: a.meaning }, a.metric, make("span", { class: "sub" }, [a.unit, better].filter(Boolean).join(", "))),
      cell(a), cell(b), between,
      make("td", { class: "drawn" }, ...(apart && a.better !== "none" ? [drawn(apart, a.better)] : [])),
      make("td", { class: "verdict" }, make("b", { class: who }, text), make("span", { class: "sub" }, how)),
      make("td", { class: "n" }, String(Math.min(a.n, b.n))));
  }
  function head(a, b) {
    const titles = [["metric", ""], ["A", "n a"], ["B", "n b"], ["A \u2212 B", "n"], ["\u2190 A better \u00b7 B better \u2192", "drawn"], ["verdict", ""], ["n", "n"]];
    const row = make("tr", {});
    for (const [title, kind] of titles) {
      const letter = { A: a, B: b }[title];
      row.append(make("th", { scope: "col", class: kind }, letter ? make("span", { class: `letter ${title.toLowerCase()}` }, title) : title,
        letter ? make("span", { class: "sub" }, named(letter.name)) : null));
    }
    return make("thead", {}, row);
  }
  function table(group, a, b, tally) {
    const [one] = group[0];
    const title = make("h2", {}, make("a", { href: one.page }, named(one.benchmark)), " ",
      make("span", { class: "of" }, "on ", named(one.dataset), ...(one.suite ? [", suite ", named(one.suite)] : [])));
    const body = make("tbody", {}, ...group.map(([x, y]) => line(x, y, tally)));
    const caption = make("caption", { class: "hidden" }, `${one.benchmark} on ${one.dataset}`);
    return [title, make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Scores: ${one.benchmark}` },
      make("table", { class: "board compared" }, caption, head(a, b), body))];
  }

  function image(picture, alt) {
    return make("img", { src: picture.src, width: picture.width, height: picture.height, alt, loading: "lazy" });
  }
  function pictures(a, b) {
    const found = [];
    for (const one of a.pictures) {
      const other = b.pictures.find((p) => p.targets.src === one.targets.src && p.dataset === one.dataset && p.images === one.images);
      if (!other || found.some((f) => f[0].targets.src === one.targets.src && f[0].recoveries.src === one.recoveries.src && f[1].recoveries.src === other.recoveries.src)) continue;
      found.push([one, other]);
    }
    return found.map(([one, other]) => {
      const row = (label, kind, picture, alt) => make("tr", { class: kind }, make("th", { scope: "row" }, ...label), make("td", {}, image(picture, alt)));
      const letter = (l, model) => [make("span", { class: `letter ${l}` }, l.toUpperCase()), " ", named(model.name)];
      return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Pictures: ${one.images}` },
        make("table", { class: "exhibit" },
          make("caption", {}, make("div", {}, make("strong", {}, one.images[0].toUpperCase() + one.images.slice(1)), " on ", named(one.dataset), ", above the recoveries of both")),
          make("tbody", {},
            row(["real images"], "real", one.targets, `Real images: ${one.images}`),
            row(letter("a", a), null, one.recoveries, `Their recoveries by ${a.name}`),
            row(letter("b", b), null, other.recoveries, `Their recoveries by ${b.name}`))));
    });
  }
  function missing(a, b) {
    const rows = [["a", a], ["b", b]].flatMap(([letter, model]) => model.unscored.map((u) =>
      make("div", {}, make("dt", {}, make("span", { class: `letter ${letter}` }, letter.toUpperCase()), " ", named(u.benchmark), ` ${u.status}`), make("dd", {}, u.reason))));
    return rows.length ? [make("h2", {}, "Not scored"), make("dl", { class: "unscored" }, ...rows)] : [];
  }

  function compare(a, b) {
    const theirs = new Map(b.scores.map((score) => [JSON.stringify(score.at), score]));
    const groups = new Map();
    for (const score of a.scores) {
      const other = theirs.get(JSON.stringify(score.at));
      if (!other) continue;
      const key = JSON.stringify(score.at.slice(0, 4));
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push([score, other]);
    }
    const tally = {};
    const tables = [...groups.values()].flatMap((group) => table(group, a, b, tally));
    const shared = [...groups.values()].reduce((sum, group) => sum + group.length, 0);
    const names = make("p", { class: "versus" }, make("span", { class: "letter a" }, "A"), " ", make("a", { href: `model/${a.slug}.html` }, named(a.name)),
      ` ${a.mark ? `(${a.mark}) ` : ""}against `, make("span", { class: "letter b" }, "B"), " ", make("a", { href: `model/${b.slug}.html` }, named(b.name)), b.mark ? ` (${b.mark})` : "");
    if (!shared) tables.push(make("p", {}, "They share no score: no benchmark measured both under the same protocol."));
    place.replaceChildren(names, ...pictures(a, b), ...tables, ...missing(a, b));
    said.textContent = shared ? `${shared} shared scores: A better in ${tally.a || 0}, B in ${tally.b || 0}, ${tally.tie || 0} tied` : "no shared score";
  }

  let turn = 0;
  async function show() {
    const now = chosen();
    const mine = ++turn;
    for (const letter of ["a", "b"]) select[letter].value = now[letter];
    if (!now.a || !now.b) {
      place.replaceChildren();
      said.textContent = "Choose two models.";
      return;
    }
    try {
      const [a, b] = await Promise.all([load(now.a), load(now.b)]);
      if (mine === turn) compare(a, b);
    } catch (error) {
      if (mine === turn) said.textContent = error.message;
    }
  }

  pair.hidden = false;
  pair.addEventListener("input", () => choose({ a: select.a.value, b: select.b.value }));
  pair.querySelector("[name=swap]").addEventListener("click", () => choose({ a: select.b.value, b: select.a.value }));
  addEventListener("hashchange", show);
  show();
})();
