/* Reads a tuner table, whole or not at all; a part of plugin.c.
 *
 * Rows mean what ncclprobe/tuner/table.py says. What that takes and this refuses: algorithms and protocols that NCCL
 * does not have, over MAX_CHANNELS channels, control characters, anything beyond ASCII outside comments.
 */
#ifndef NCCLPROBE_TUNER_TABLE_H
#define NCCLPROBE_TUNER_TABLE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin.h"

enum { TABLE_BYTES = 4 << 20, FIELDS_LEAST = 8, FIELDS_MOST = 10, DIGITS_MOST = 19 };
#define ANY UINT64_MAX /* a wildcard; more than 19 digits can say */

struct row {
  uint64_t low, high, nnodes, nranks;
  int collective, algo, proto, channels; /* -1 where left to NCCL */
};
struct table { size_t count; struct row rows[]; };
struct span { const char *start, *end; };

/* Names without what is no letter or digit: names.py compares them so. */
static const char *const COLLECTIVE_NAMES[] = {"broadcast", "reduce",    "allgather", "reducescatter",
                                               "allreduce", "sendrecv", "alltoall",  NULL};
static const char *const ALGO_NAMES[] = {"tree", "ring",     "collnetdirect", "collnetchain",
                                         "nvls", "nvlstree", "pat",           NULL};
static const char *const PROTO_NAMES[] = {"ll", "ll128", "simple", NULL};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_blank(char c) { return c == ' ' || c == '\t'; }
static bool is_line_end(char c) { return c == '\n' || c == '\r'; }

static struct span trimmed(struct span text) {
  while (text.start < text.end && is_blank(*text.start)) text.start++;
  while (text.end > text.start && is_blank(text.end[-1])) text.end--;
  return text;
}

static bool spells(struct span text, const char *name) {
  for (const char *c = text.start; c < text.end; c++) {
    if (!is_digit(*c) && !is_letter(*c)) continue;
    if (*name++ != (is_letter(*c) ? (char)(*c | 0x20) : *c)) return false; /* also at the name's end */
  }
  return *name == '\0';
}

static bool read_name(struct span text, const char *const *names, int *number) {
  for (*number = 0; names[*number]; ++*number)
    if (spells(text, names[*number])) return true;
  return false;
}

static bool is_wildcard(struct span text) {
  return text.end - text.start == 2 && text.start[0] == '-' && text.start[1] == '1';
}

/* A word, or -1 for what is left to NCCL. */
static bool read_word(struct span text, const char *const *names, int *number) {
  *number = -1;
  if (is_wildcard(text)) return true;
  if (text.start == text.end || !is_letter(*text.start)) return false;
  for (const char *c = text.start; c < text.end; c++)
    if (!is_letter(*c) && !is_digit(*c) && *c != '_') return false;
  return read_name(text, names, number);
}

static bool read_number(struct span text, uint64_t *number) {
  *number = ANY;
  if (is_wildcard(text)) return true;
  if (text.start == text.end || text.end - text.start > DIGITS_MOST) return false;
  for (*number = 0; text.start < text.end; text.start++) {
    if (!is_digit(*text.start)) return false;
    *number = *number * 10 + (uint64_t)(*text.start - '0');
  }
  return true;
}

/* -1 where 0 or a wildcard leaves it to NCCL. */
static bool read_channels(struct span text, int *channels) {
  uint64_t number;
  if (!read_number(text, &number) || (number != ANY && number > MAX_CHANNELS)) return false;
  *channels = number == ANY || number == 0 ? -1 : (int)number;
  return true;
}

/* How many fields there are; those beyond `most` are counted only. */
static int split(struct span line, struct span *fields, int most) {
  int count = 0;
  for (const char *start = line.start;; start++) {
    const char *comma = start;
    while (comma < line.end && *comma != ',') comma++;
    if (count < most) fields[count] = trimmed((struct span){start, comma});
    count++;
    start = comma;
    if (comma == line.end) return count;
  }
}

/* NULL, or what is wrong with a row. */
static const char *read_row(struct span line, struct row *row) {
  struct span field[FIELDS_MOST];
  uint64_t other;
  int count = split(line, field, FIELDS_MOST);
  if (count < FIELDS_LEAST || count > FIELDS_MOST) return "a row has 8 to 10 fields";
  if (!read_name(field[0], COLLECTIVE_NAMES, &row->collective)) return "the first field is no collective";
  if (!read_number(field[1], &row->low) || !read_number(field[2], &row->high)) return "a size is no number";
  if (row->high == ANY || row->low > row->high) return "min_bytes is 0 to max_bytes";
  if (!read_word(field[3], ALGO_NAMES, &row->algo)) return "NCCL has no such algorithm";
  if (!read_word(field[4], PROTO_NAMES, &row->proto)) return "NCCL has no such protocol";
  if (!read_channels(field[5], &row->channels)) return "channels are -1 or 0 to 64";
  if (!read_number(field[6], &row->nnodes)) return "nNodes is no number";
  if (!read_number(field[7], &row->nranks)) return "nRanks is no number";
  for (int i = FIELDS_LEAST; i < count; i++)
    if (!read_number(field[i], &other) || other != ANY) return "numPipeOps and regBuff must be -1";
  return NULL;
}

/* NULL, or what makes a line unfit to be read: what others take for a line's end, or what cannot be seen. */
static const char *unfit(struct span line, bool comment) {
  for (const char *c = line.start; c < line.end; c++) {
    unsigned char byte = (unsigned char)*c;
    ptrdiff_t left = line.end - c;
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return "there is a control character";
    if (byte >= 0x80 && !comment) return "only comments may hold more than ASCII";
    bool next_line = left >= 2 && !memcmp(c, "\xc2\x85", 2); /* U+0085, then U+2028 and U+2029 in UTF-8 */
    if (next_line || (left >= 3 && (!memcmp(c, "\xe2\x80\xa8", 3) || !memcmp(c, "\xe2\x80\xa9", 3))))
      return "there is a line separator within a line";
  }
  return NULL;
}

static struct table *with_row(struct table *table, const struct row *row) {
  size_t count = table->count;
  if (count && !(count & (count - 1))) { /* a power of two: what is allocated is full */
    struct table *larger = realloc(table, sizeof *table + 2 * count * sizeof *row);
    if (!larger) { free(table); return NULL; }
    table = larger;
  }
  table->rows[table->count++] = *row;
  return table;
}

/* A table from text, or NULL with the reason. */
static struct table *table_from_text(struct span text, char *error, size_t size) {
  struct table *table = calloc(1, sizeof *table + sizeof(struct row));
  unsigned long number = 0;
  while (table && text.start < text.end) {
    const char *end = text.start, *wrong;
    while (end < text.end && !is_line_end(*end)) end++;
    struct span line = trimmed((struct span){text.start, end});
    bool comment = line.start < line.end && *line.start == '#';
    struct row row = {0};
    text.start = end + (end < text.end) + (end + 1 < text.end && end[0] == '\r' && end[1] == '\n');
    number++;
    wrong = unfit(line, comment);
    if (!wrong && !comment && line.start < line.end) {
      wrong = read_row(line, &row);
      if (!wrong) table = with_row(table, &row);
    }
    if (wrong) {
      snprintf(error, size, "line %lu: %s", number, wrong);
      free(table);
      return NULL;
    }
  }
  if (!table) snprintf(error, size, "out of memory");
  return table;
}

/* A file's bytes, at most `most` of them, or -1 with errno; never waits for a pipe's other end. */
static ssize_t read_file(const char *path, char *bytes, size_t most) {
  struct stat status;
  size_t total = 0;
  ssize_t got = -1;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return -1;
  if (fstat(file, &status) == 0) {
    errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    while (S_ISREG(status.st_mode) && total < most) {
      got = read(file, bytes + total, most - total);
      if (got == 0 || (got < 0 && errno != EINTR)) break;
      total += got > 0 ? (size_t)got : 0;
    }
  }
  int problem = errno;
  close(file);
  errno = problem;
  return got < 0 ? -1 : (ssize_t)total;
}

/* A file's table, or NULL with the reason. */
static struct table *table_read(const char *path, char *error, size_t size) {
  struct table *table = NULL;
  char *bytes = malloc(TABLE_BYTES + 1);
  ssize_t length = bytes ? read_file(path, bytes, TABLE_BYTES + 1) : -1;
  if (length < 0) snprintf(error, size, "cannot be read: %s", errno == EINVAL ? "no regular file" : strerror(errno));
  else if (length > TABLE_BYTES) snprintf(error, size, "over %d bytes", TABLE_BYTES);
  else table = table_from_text((struct span){bytes, bytes + length}, error, size);
  free(bytes);
  return table;
}

/* The first row that matches, or NULL. */
static const struct row *table_find(const struct table *table, const struct ncclprobe_answer *asked) {
  for (size_t i = 0; table && i < table->count; i++) {
    const struct row *row = &table->rows[i];
    if (row->collective == asked->collective && row->low <= asked->bytes && asked->bytes <= row->high &&
        (row->nnodes == ANY || row->nnodes == (uint64_t)asked->nnodes) &&
        (row->nranks == ANY || row->nranks == (uint64_t)asked->nranks))
      return row;
  }
  return NULL;
}

#endif
