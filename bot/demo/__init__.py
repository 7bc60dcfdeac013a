"""Show the daemon at work without any account: on the emulator, with a chat page in the browser."""
