# The job: a row's number on stdin, the brightness of its points on stdout.
{
	y = 1.2 * (height - 1 - 2 * $1) / (height - 1)
	for (column = 0; column < width; column++) {
		x = -2.2 + 3.2 * column / (width - 1)
		a = b = 0
		for (n = 0; n < 255 && a * a + b * b <= 4; n++) {
			next_a = a * a - b * b + x
			b = 2 * a * b + y
			a = next_a
		}
		printf "%s%d", column ? " " : "", 255 - n
	}
	print ""
}
