/** What a viewer shares in which state of its device, and why. */

/**
 * `full`: it takes and gives. `download-only`: it takes, gives nothing and announces nothing. `off`: it is connected to nobody, and
 * segments come over HTTP.
 */
export type Sharing = 'full' | 'download-only' | 'off';

/** What is shared in states in which data or power is dear; of several that apply the strictest counts. */
export interface SharingPolicy {
  /**
   * On a cellular connection, or with the browser's data saver on, where the browser tells (`navigator.connection`).
   * @default 'download-only'
   */
  metered?: Sharing;
  /**
   * While the page is not visible (`document.visibilityState`).
   * @default 'full'
   */
  hidden?: Sharing;
  /**
   * At 20 % of battery or less, not charging, where the browser tells (`navigator.getBattery`).
   * @default 'download-only'
   */
  lowBattery?: Sharing;
}

/** A state that a {@link SharingPolicy} has a rule for. */
export type DeviceState = keyof SharingPolicy;

/** Why not everything is shared: a state, `uploadLimit: 0`, or neither `consent: 'auto'` nor `enable()`. */
export type SharingReason = DeviceState | 'uploadLimit' | 'disabled';

/** What is shared, and why not more: nothing where all is. */
export interface SharingDetail {
  readonly sharing: Sharing;
  readonly reasons: readonly SharingReason[];
}

/** From the loosest to the strictest. @internal */
export const SHARINGS = ['full', 'download-only', 'off'] as const satisfies readonly Sharing[];

/** A policy with its defaults filled in. @internal */
export type ResolvedPolicy = Readonly<Required<SharingPolicy>>;

/** @internal */
export const DEFAULT_POLICY: ResolvedPolicy = { metered: 'download-only', hidden: 'full', lowBattery: 'download-only' };

/** The strictest of the rules that apply, and all that are as strict. @internal */
export function strictest(rules: ReadonlyMap<SharingReason, Sharing>): SharingDetail {
  const level = Math.max(0, ...[...rules.values()].map((sharing) => SHARINGS.indexOf(sharing)));
  const sharing = SHARINGS[level] ?? 'off';
  const reasons = [...rules].filter(([, rule]) => rule === sharing && sharing !== 'full').map(([reason]) => reason);
  return { sharing, reasons };
}

/** @internal */
export function isSameSharing(a: SharingDetail, b: SharingDetail): boolean {
  return a.sharing === b.sharing && a.reasons.join() === b.reasons.join();
}
