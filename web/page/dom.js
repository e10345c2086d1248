// Building the page out of nodes. Nothing here or elsewhere parses a string as markup.

/**
 * Makes an element. A property that begins with "on" is a listener, "class" and names with a dash are
 * attributes, "data" and "vars" are sets of data attributes and CSS custom properties; the rest are
 * properties of the element. Children that are null or false are left out.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node|string|null|false|undefined)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'data') Object.assign(node.dataset, value);
    else if (name === 'vars') for (const [k, v] of Object.entries(value)) node.style.setProperty(k, String(v));
    else if (name === 'class' || name === 'role' || name.includes('-')) node.setAttribute(name, value);
    else /** @type {any} */ (node)[name] = value;
  }
  node.append(.../** @type {(Node|string)[]} */ (children.filter((c) => c !== null && c !== undefined && c !== false)));
  return node;
}

/** Paths of the icons, drawn on 24 by 24 with a stroke. */
const icons = {
  menu: ['M4 7h16', 'M4 12h11', 'M4 17h16'],
  close: ['M6 6l12 12', 'M18 6L6 18'],
  people: ['M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7', 'M2.500 20c.5-3.800 3-6 6.500-6s6 2.200 6.500 6', 'M16 4.500a3.500 3.500 0 0 1 0 6.300', 'M18.500 14.500c1.800 1 2.800 2.900 3 5.500'],
  sun: ['M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8', 'M12 2.500v2', 'M12 19.500v2', 'M2.500 12h2', 'M19.500 12h2', 'M5.300 5.300l1.400 1.400', 'M17.300 17.300l1.400 1.400', 'M5.300 18.700l1.400-1.400', 'M17.300 6.700l1.400-1.400'],
  moon: ['M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500'],
  send: ['M12 19V5', 'M5.500 11.500L12 5l6.500 6.500'],
  down: ['M12 5v14', 'M5.500 12.500L12 19l6.500-6.500'],
  file: ['M6 3h8l5 5v13H6z', 'M14 3v5h5'],
  plus: ['M12 5v14', 'M5 12h14'],
  retry: ['M4 12a8 8 0 1 0 2.500-5.800', 'M4 4v4.500h4.500'],
};

/**
 * @param {keyof typeof icons} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  for (const d of icons[name]) {
    const path = document.createElementNS(ns, 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}

/**
 * Calls f soon, once for many requests: with the next frame, or by a timer where the page is hidden
 * and draws no frames.
 *
 * @param {() => void} f
 * @returns {() => void} the request
 */
export function soon(f) {
  let asked = false;
  const run = () => {
    if (!asked) return;
    asked = false;
    f();
  };
  return () => {
    if (asked) return;
    asked = true;
    if (document.hidden) setTimeout(run, 60);
    else requestAnimationFrame(run);
  };
}
