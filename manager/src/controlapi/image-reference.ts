// Agents name images as well, when they load archives: one grammar for both.
export * from '@tessera/shared/image-reference';
