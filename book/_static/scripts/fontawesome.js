/* Instead of the script of the theme, which is 1.4 MB: icons are drawn by fonts, see book/icons.py. */
