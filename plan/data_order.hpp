// How a run's documents become sequences, as the configuration says.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/config.hpp"
#include "io/sequence_order.hpp"

namespace collie {

// What data.packing means for `sources`. With auto, samples stay whole where they have a prompt or messages.
Packing packing_of(const DataSection& data, const std::vector<DataSource>& sources);
const char* name_of(Packing packing);  // as the key has it

// The order of training. Warns of sequences without targets. Throws UserError as SequenceOrder does.
std::shared_ptr<const SequenceOrder> training_order(const Config& config,
                                                    std::shared_ptr<const Dataset> data);

// The weights of sources in millionths.
std::vector<int64_t> weights_of(const std::vector<DataSource>& sources);

// What part each source has of an epoch, where a weight is not 1; otherwise empty.
std::string words_of_mixture(const SequenceOrder& order);

// How many documents, tokens and targets there are, and how many documents are cut or dropped; for the start
// of a run.
std::string words_of_data(const SequenceOrder& order);

// Which data sequences [from, to) of the run are, counted from its beginning, for people: "sequences 8 to 11
// of epoch 1, in which are documents 3, 17 of 'data/a*.jsonl'". Epochs and documents are counted from 1
// there. Of many documents the first ones are named.
std::string words_of_sequences(const SequenceOrder& order, int64_t from, int64_t to);

}  // namespace collie
