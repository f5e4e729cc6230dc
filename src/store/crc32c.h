/*
 * crc32c.h
 *	  The checksum of params.
 */
#ifndef STORE_CRC32C_H
#define STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32C of a file of which the eight bytes at hole count as "00000000",
 * wherever that is; hole + 8 <= size.
 */
extern uint32_t crc32c_with_hole(const char *bytes, size_t size, size_t hole);

#endif							/* STORE_CRC32C_H */
