// Small pieces of the page's tree. Text is always text: names from files never become markup.

/** An HTML element with attributes and children (elements or texts). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  element.append(...children);
  return element;
}

/** An SVG element with attributes and text. */
export function makeSvg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

/** Offer a Blob as a file of that name; nothing leaves the machine. */
export function saveBlob(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
