// Runs before the first paint, so that a page told to be dark never flashes white.
'use strict';
try {
  const theme = localStorage.getItem('parley.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is off: the system's choice stands.
}
