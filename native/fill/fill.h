/*
 * ts-fill: gives an empty volume what the image has where it is mounted, and can do nothing else.
 *
 * The copy is made beside the volume's data, whole, and then moved in entry by entry, so that whatever line it dies at
 * the next one knows how far it came:
 *   .fill.new  a copy under way: thrown away
 *   .fill      a copy that is whole: what is still in it is moved in
 * The image's layers are read through a read-only overlay in a mount namespace of its own; the path in them is resolved
 * inside that root, whatever links an image has there.
 */
#ifndef TESSERA_FILL_H
#define TESSERA_FILL_H

/* Deeper trees than this are refused: each level holds two descriptors. */
#define FILL_DEPTH_MAX 1000u

#define FILL_STAGE ".fill"
#define FILL_STAGE_NEW ".fill.new"

/* Copies what is in the directory `from`, with owners, modes, times, attributes and hard links. 0, or -1 after fail(). */
int copy_tree(int from, int to);
/* Gives the directory `to` the owner, mode, times and attributes of `from`. 0, or -1 after fail(). */
int copy_attributes(int from, int to, const char *name);
/* That of SELinux, where there is one. */
int copy_label(int from, int to);
/* The image's root as a directory, from its layers, top first; `empty` is a directory that is and stays empty. */
int open_image(const char *base, const char *empty, char *const *layers);
/* Removes `name` of the directory `dir`, with all below it. 0, or -1 after fail(). */
int remove_tree(int dir, const char *name);

#endif
