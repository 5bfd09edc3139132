import Module from 'node:module';

// React DOM and Testing Library require "react": here they get the one that is installed beside React 19.
const loader = Module as unknown as { _resolveFilename: (request: string, ...rest: unknown[]) => string };
const resolve = loader._resolveFilename;
loader._resolveFilename = (request, ...rest) =>
  resolve(
    request.replace(/^(react|react-dom)(?=$|\/)/, (name) => `${name}18`),
    ...rest,
  );
