/** The version of this front end; equal to that of the Python package it came with (tests hold them together). */
export const VERSION = '0.1.0';
