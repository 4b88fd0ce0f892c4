// npm run gen:docs
import { writeDocument } from './document.js';

await writeDocument();
// The routes that were looked at watch a store, and would do so for ever.
process.exit();
