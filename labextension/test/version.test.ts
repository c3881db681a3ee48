import packageJson from '../../package.json';

import { VERSION } from '../src/version';

test('the version is that of the package', () => expect(VERSION).toBe(packageJson.version));
