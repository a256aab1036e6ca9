// What a picture is checked for. Evaluated in the page; returns what is wrong, and where amount and button are.
() => {
  const host = document.querySelector("qirsh-checkout");
  const root = host.shadowRoot;
  const wrong = [];
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && !element.closest(".unseen, [hidden]") && getComputedStyle(element).visibility === "visible";
  };
  const named = (element) => `${element.localName}.${element.className.baseVal ?? element.className}: ${element.textContent.trim().slice(0, 40)}`;
  const elements = [...root.querySelectorAll("*")].filter(shown);
  const card = root.querySelector(".card").getBoundingClientRect();

  // Nothing is cut off.
  if (document.scrollingElement.scrollWidth > innerWidth) wrong.push(`the page is wider than the window: ${document.scrollingElement.scrollWidth}`);
  for (const element of elements) {
    const box = element.getBoundingClientRect();
    if (box.left < card.left - 0.5 || box.right > card.right + 0.5) wrong.push(`stands out of the card: ${named(element)}`);
    if (box.top < card.top - 0.5 || box.bottom > card.bottom + 0.5) wrong.push(`stands above or below the card: ${named(element)}`);
    if (element.localName !== "iframe" && getComputedStyle(element).display !== "inline") {
      if (element.scrollWidth > element.clientWidth + 1) wrong.push(`is cut off: ${named(element)}`);
      // The foot hangs into the edge of the card, below the form.
      if (element.localName !== "form" && element.scrollHeight > element.clientHeight + 2) wrong.push(`is cut off below: ${named(element)}`);
    }
  }

  // Texts, with the lines they fill.
  const texts = [];
  for (const element of elements) {
    for (const node of element.childNodes) {
      if (node.nodeType !== Node.TEXT_NODE || !node.textContent.trim()) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      texts.push({ element, node, boxes: [...range.getClientRects()].filter((box) => box.width > 0.5) });
    }
  }
  // Nothing overlaps. A line's box is taller than its letters, so a little of it may. A button that stays at the bottom of
  // the window stands over what can be scrolled to, and over nothing once the end is reached.
  const foot = root.querySelector(".foot");
  const ended = scrollY + innerHeight >= document.scrollingElement.scrollHeight - 1;
  const over = !ended && getComputedStyle(foot).position === "sticky" && foot.querySelector(".button");
  for (const [index, one] of texts.entries()) {
    for (const other of texts.slice(index + 1)) {
      if (over && foot.contains(one.element) !== foot.contains(other.element)) continue;
      for (const a of one.boxes) for (const b of other.boxes) {
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        if (wide > 1 && high > 4) wrong.push(`overlap: ${named(one.element)} and ${named(other.element)}`);
      }
    }
  }

  // Contrast, by WCAG's formula. A canvas knows every way to write a colour.
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement ?? one.getRootNode().host) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  for (const { element } of texts) {
    const [light, dark] = [luminance(rgba(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(2)}: ${named(element)}`);
  }

  // Digits stand in their order, from left to right, whatever the direction around them.
  for (const { element, node } of texts) {
    for (const run of node.textContent.matchAll(/[0-9٠-٩]+(?:[.,:٫٬*]*[0-9٠-٩]+)*/g)) {
      let before = null;
      for (let index = run.index; index < run.index + run[0].length; index += 1) {
        const range = document.createRange();
        range.setStart(node, index);
        range.setEnd(node, index + 1);
        const box = range.getBoundingClientRect();
        if (before && before.top === box.top && box.left < before.left) wrong.push(`digits in another order: ${run[0]} in ${named(element)}`);
        before = box;
      }
    }
  }

  const place = (element) => {
    const { x, y, width, height, bottom } = element.getBoundingClientRect();
    return { x: Math.round(x), y: Math.round(y + scrollY), width: Math.round(width), height: Math.round(height), below: Math.round(card.bottom - bottom) };
  };
  const amount = root.querySelector(".amount");
  const button = root.querySelector("form .button");
  const start = getComputedStyle(root.querySelector(".card")).direction;
  return { wrong, start, amount: place(amount), card: { height: Math.round(card.height) }, button: button && place(button) };
};
