/** Tests of what needs no JupyterLab; a module of JupyterLab that a test imports is compiled on the way. */
module.exports = {
  rootDir: __dirname,
  testEnvironment: 'jsdom',
  testMatch: ['<rootDir>/test/**/*.test.ts', '<rootDir>/test/**/*.test.tsx'],
  transform: {
    '^.+\\.[jt]sx?$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.test.json', diagnostics: false }]
  },
  transformIgnorePatterns: [
    '/node_modules/(?!(@jupyter|@jupyterlab|@lumino|lib0|yjs|y-protocols|uuid|nanoid|exenv-es6)/)'
  ],
  moduleNameMapper: { '\\.css$': '<rootDir>/test/style.js', '\\.svg$': '<rootDir>/test/style.js' },
  reporters: ['default']
};
