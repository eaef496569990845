// Small help with the page: elements by id, elements made, questions asked.

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

type Attributes = Record<string, string | boolean | null | undefined>;

// Makes an element. Text is always text, so that no name of a file is ever taken for markup.
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Opens a dialog and gives its input's text, "yes" without an input, or null if it was closed.
export function ask(title: string, body: Node[], yes: string | null): Promise<string | null> {
  const dialog = element<HTMLDialogElement>("dialog");
  element("dialog-title").textContent = title;
  element("dialog-body").replaceChildren(...body);
  const accept = element("dialog-yes");
  accept.hidden = yes === null;
  accept.textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  const input = dialog.querySelector("input");
  if (input) input.select();
  else element(yes === null ? "dialog-no" : "dialog-yes").focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const said = dialog.returnValue === "yes";
        resolve(said ? (input ? input.value.trim() : "yes") : null);
      },
      { once: true },
    );
  });
}
