// Data files become token caches, on all threads, in bounded memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/dataset_formats.hpp"
#include "io/tokenizer.hpp"

namespace collie {

// A data file whose tokens are wanted.
struct TokenisingTask {
  DataFile file;
  std::filesystem::path cache;  // where the tokens go
  std::string key;              // of the cache
};

struct TokenisingOptions {
  int64_t max_bad_lines = 0;  // of a file, which are left out
  int threads = 1;            // the caller's counts
  // Called now and then by one thread at a time: bytes of all files read so far, and the file it is at.
  std::function<void(uint64_t bytes, const std::string& path)> progress = {};
};

// Writes the caches of the tasks, one file after another; each is there whole or not at all. Files whose
// format is by line are cut between lines, and the pieces of one or several files are tokenised at once. The
// result, and the error if there is one, is what one thread gives that takes one line after another: of
// several bad lines the first is named. Memory: the text of 8 pieces a thread, at most 256 KiB or one line
// each, with the tokens of half of them; a line of n bytes may take some 30 n for a moment. Throws UserError
// naming the file and line.
void tokenise(const std::vector<TokenisingTask>& tasks, const Tokenizer& tokenizer,
              const TokenisingOptions& options);

}  // namespace collie
