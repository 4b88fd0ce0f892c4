export * from './admission.js';
export * from './certificate-authority.js';
export * from './signer.js';
export * from './units.js';
