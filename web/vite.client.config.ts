import { defineConfig } from 'vite';

/** The package: three entries, with what they share in files of its own. */
export default defineConfig({
  publicDir: false,
  build: {
    outDir: 'dist-client',
    sourcemap: true,
    lib: {
      entry: { client: 'client/index.ts', react: 'react/index.ts', testing: 'testing/index.ts' },
      formats: ['es'],
    },
    rollupOptions: {
      external: [/^react/],
      // A server component may import the hooks' entry: what is in it runs in the browser.
      output: { banner: ({ name }) => (name === 'react' ? "'use client';" : '') },
    },
  },
});
