/** A radix tree: values by text, of which all that stand at a prefix of another text are found in one walk. */

interface Node<V> {
  /** What this node adds to its parent's text. */
  label: string;
  value: V | undefined;
  /** By the first character of the label. */
  children: Map<number, Node<V>> | undefined;
}

export class PrefixTree<V> {
  readonly #root: Node<V> = { label: "", value: undefined, children: undefined };

  /** The value at exactly this text, made by `create` when there is none. */
  at(text: string, create: () => V): V {
    const node = this.#nodeAt(text);
    return node.value ??= create();
  }

  /** Values at prefixes of the text, the shortest prefix first; the text itself counts. */
  prefixesOf(text: string): V[] {
    const values: V[] = [];
    let node: Node<V> | undefined = this.#root;
    let at = 0;
    while (node !== undefined && text.startsWith(node.label, at)) {
      at += node.label.length;
      if (node.value !== undefined) values.push(node.value);
      node = node.children?.get(text.charCodeAt(at)); // NaN at the end: no child
    }
    return values;
  }

  #nodeAt(text: string): Node<V> {
    let node = this.#root;
    let rest = text;
    while (rest !== "") {
      const first = rest.charCodeAt(0);
      const children: Map<number, Node<V>> = node.children ??= new Map();
      const child = children.get(first);
      if (child === undefined) {
        const leaf: Node<V> = { label: rest, value: undefined, children: undefined };
        children.set(first, leaf);
        return leaf;
      }
      const common = commonLength(child.label, rest);
      if (common < child.label.length) {
        const upper: Node<V> = { label: rest.slice(0, common), value: undefined, children: new Map() };
        upper.children?.set(child.label.charCodeAt(common), child);
        child.label = child.label.slice(common);
        children.set(first, upper);
        node = upper;
      } else node = child;
      rest = rest.slice(common);
    }
    return node;
  }
}

function commonLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}
