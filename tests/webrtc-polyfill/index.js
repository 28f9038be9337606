/** Empty: see package.json. */
export {};
