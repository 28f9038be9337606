/** What can go wrong, with codes that stay the same across versions. */

/** The code of a {@link TabswarmError}; README.md says what each means. */
export type TabswarmErrorCode =
  | 'cancelled'
  | 'destroyed'
  | 'insecure-manifest'
  | 'invalid-option'
  | 'invalid-url'
  | 'manifest'
  | 'manifest-rollback'
  | 'manifest-unavailable'
  | 'mismatch'
  | 'module-failed'
  | 'module-unavailable'
  | 'network'
  | 'publisher-key'
  | 'segment-key'
  | 'stream-name'
  | 'too-many-streams'
  | 'unsupported';

/** An error of this package. Its {@link TabswarmError.code | code} is stable, its message is for people. */
export class TabswarmError extends Error {
  override readonly name = 'TabswarmError';
  /** What went wrong. */
  readonly code: TabswarmErrorCode;

  constructor(code: TabswarmErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const MODULE_CODES: Readonly<Partial<Record<string, string>>> = {
  cancelled: 'too many fetches of one segment',
  'invalid-option': 'option issuerKeys: not an Ed25519 public key',
  manifest: 'the manifest is malformed, or its signature does not verify',
  mismatch: "the origin's bytes contradict the publisher's signature",
  network: 'the origin did not answer, or its answer broke off',
  'publisher-key': 'not an Ed25519 public key',
  'segment-key': 'the URL has no usable path for a segment key',
  'stream-name': 'the manifest is of another stream than the pinned one',
  'too-many-streams': 'too many streams are open',
};

/** The error that a code of the wasm module stands for. @internal */
export function moduleError(code: string, options?: ErrorOptions): TabswarmError {
  const message = MODULE_CODES[code];
  if (message === undefined) return new TabswarmError('module-failed', code, options);
  return new TabswarmError(code as TabswarmErrorCode, message, options);
}
