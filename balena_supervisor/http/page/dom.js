// Building and changing the page. Everything that comes from the device ends up in a text node or an attribute of
// our choosing, never as HTML: the policy of this page (trusted types) forbids that as well.

const byId = (id) => document.getElementById(id);

/** A new element. An attribute of null is left out; children are elements, or texts. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function makeSvg(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Change a text only when it differs, so that a selection by hand and a screen reader are left in peace. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** As setText, for a name such as DeviceStateChanged, which may be broken before each capital. */
function setName(element, name) {
  if (element.textContent === name) return;
  const parts = name.split(/(?<=[a-z])(?=[A-Z])/);
  element.replaceChildren(...parts.flatMap((part, place) => (place ? [make("wbr"), part] : [part])));
}

function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Make the children of a list be those of `items`, in order, each element made once and then updated. What has the
 * focus or is folded open stays so.
 */
function keepList(list, items, keyOf, create, update = () => {}) {
  list.kept ??= new Map();
  const kept = list.kept;
  const keys = new Set(items.map(keyOf));
  for (const [key, element] of kept) {
    if (!keys.has(key)) {
      element.remove();
      kept.delete(key);
    }
  }
  let place = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = kept.get(key);
    if (element === undefined) {
      element = create(item);
      kept.set(key, element);
    }
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
    update(element, item);
  }
}

/** As keepList, but shows the first few and a button for the rest; says `nothing` of an empty list. */
function keepShortList(list, items, limit, nothing, keyOf, create, update) {
  list.short ??= makeShort(list, nothing);
  const short = list.short;
  short.again = () => {
    keepList(list, short.whole ? items : items.slice(0, limit), keyOf, create, update);
    setText(short.more, short.whole ? `show the first ${limit}` : `show all ${items.length}`);
    const wanted = items.length === 0 ? short.none : items.length > limit ? short.more : null;
    if (short.place.firstChild !== wanted) short.place.replaceChildren(...(wanted ? [wanted] : []));
    short.place.hidden = wanted === null;
  };
  short.again();
}

function makeShort(list, nothing) {
  const short = { whole: false, place: make("p", { class: "after" }), none: make("span", {}, nothing) };
  short.more = make("button", { type: "button", onclick: () => { short.whole = !short.whole; short.again(); } });
  list.insertAdjacentElement("afterend", short.place);
  return short;
}

/** JSON that can be folded open, and scrolled with the keyboard. */
function makeBody(value, label) {
  const text = JSON.stringify(value, null, 2);
  return make("details", { class: "body" }, make("summary", {}, "body"), makeScrollText(text, label));
}

function makeScrollText(text, label) {
  return make("pre", { tabindex: "0", role: "region", "aria-label": label }, text);
}
