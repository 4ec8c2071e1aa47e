/** How a text of a request is compared: envoy.type.matcher.v3.StringMatcher, HeaderMatcher and QueryParameterMatcher. */

export type StringMatch =
  | {
    readonly kind: "exact" | "prefix" | "suffix" | "contains";
    readonly value: string;
    readonly ignoreCase?: boolean | undefined;
  }
  /** RE2 syntax; the whole text must match. */
  | { readonly kind: "regex"; readonly regex: string };

export type ValueMatch = StringMatch | { readonly kind: "present" };

export interface HeaderMatch {
  /** Lower case; also `:method`, `:authority`, `:path` and `:scheme`. */
  readonly name: string;
  readonly match: ValueMatch;
  /** The match must fail. */
  readonly invert: boolean;
  /** A header that is absent is compared as an empty text instead of not matching. */
  readonly treatMissingAsEmpty: boolean;
}

export interface QueryMatch {
  readonly name: string;
  readonly match: ValueMatch;
}

export type PathMatch =
  | {
    /** `path-separated-prefix`: `/foo` matches `/foo` and `/foo/bar`, not `/foobar`. */
    readonly kind: "exact" | "prefix" | "path-separated-prefix";
    readonly value: string;
    readonly caseSensitive: boolean;
  }
  | { readonly kind: "regex"; readonly regex: string }
  /** envoy.path.match.uri_template: `{*}` is one segment, `{**}` any number of them. */
  | { readonly kind: "template"; readonly template: string };
