// The page's elements. What is somebody's data enters as text, never as markup.
export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function svg(name, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

// Children are kept where they say the same as before; focus stays where it was.
export function renew(parent, lines, make) {
  lines.forEach((line, i) => {
    const text = JSON.stringify(line), held = parent.children[i];
    if (held?.dataset.says === text) return;
    const made = make(line);
    made.dataset.says = text;
    const focused = held?.contains(document.activeElement);
    held ? held.replaceWith(made) : parent.append(made);
    if (focused) made.querySelector("a, button")?.focus();
  });
  while (parent.children.length > lines.length) parent.lastChild.remove();
}
