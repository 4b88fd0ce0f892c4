#!/usr/bin/env node
// Committed and executable, since npm links it before anything is built.
import '../dist/main.js';
