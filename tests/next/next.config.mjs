// The checkout has other lock files above this folder: without it, Next.js would take one of them for the root.
export default { turbopack: { root: import.meta.dirname } };
