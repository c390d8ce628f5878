// Where the blocks of quantised states stand (kernels/dynamic_map.hpp). They are counted in the flattened
// tensor, as parameters store it: transposed where they are (GPT-2). No rank may hold a part of a block.
#pragma once

#include <string>
#include <vector>

#include "models/parameter.hpp"
#include "models/stage_range.hpp"
#include "optim/bucket_plan.hpp"
#include "optim/parameter_groups.hpp"

namespace collie {

// The shape of StateShape::blocks. In a matrix whose rows are whole blocks it has a row for each of its rows.
Shape shape_of_blocks(const Shape& tensor, bool transposed);

// How many elements a state has of a range of so many.
int64_t held_numel(const StateDeclaration& state, int64_t numel);

// What a state of a range is of: elements [begin, ...) of the flattened parameter `of`, whose pieces are
// rectangles of the state in checkpoints.
struct StatePlace {
  Parameter of;
  int64_t begin = 0;
};
// The range must be within one piece, and cut no block.
StatePlace place_of_state(const StateDeclaration& state, const Parameter& parameter, const OwnedRange& range);

// Throws UserError if a rank of the data group would hold a part of a block. `parameters` are those of a
// stage on a tensor rank. `key`: the place of the optimizer's name, for the message.
void check_blocks(const std::vector<Parameter>& parameters, const StageRange& range,
                  const DataSharding& sharding, const ParameterGroups& optimizers, const std::string& key);

}  // namespace collie
