// What a run's data are: `collie-engine data`.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/sequence_order.hpp"
#include "io/tokenizer.hpp"

namespace collie {

// A document as text, cut where tokens become targets or stop being it.
struct ShownDocument {
  struct Run {
    std::string text;  // without special tokens
    bool target = false;
  };
  int64_t number = 0;  // from 1
  int64_t tokens = 0, targets = 0;
  std::vector<Run> runs;
};

struct DataReport {
  struct Source {
    std::string path;
    double weight = 1;
    int64_t documents = 0, tokens = 0, targets = 0;  // without those that are dropped
  };
  std::string name;  // "data.train"
  std::string packing;
  // Of the documents that are read: those that are dropped, or in sources of weight 0, count nowhere else.
  int64_t documents = 0, tokens = 0, targets = 0;
  int64_t sequences = 0;  // of the first epoch
  int64_t cut = 0, dropped = 0;
  std::vector<Source> sources;
  int64_t shortest = 0, longest = 0;  // tokens of a document
  // Documents of [2^k, 2^(k+1)) tokens at place k; documents without tokens are at place 0, too.
  std::vector<int64_t> lengths;
  std::vector<ShownDocument> samples;
};

// `samples` documents are shown, evenly spaced, of each at most 4,000 tokens.
DataReport make_data_report(const SequenceOrder& order, const Tokenizer& tokenizer, int64_t samples);

// `colours`: what is no target is grey; otherwise targets stand between ⟦ and ⟧.
std::string to_text(const DataReport& report, bool colours);
nlohmann::ordered_json to_json(const DataReport& report);

}  // namespace collie
