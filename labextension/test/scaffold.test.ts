import schema from '../schema/plugin.json';

test('the settings have a title', () => {
  expect(schema.title).toBe('cellferry');
});
