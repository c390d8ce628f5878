// The shapes of bench_train against the released models' sizes.
#include "bench/shapes.hpp"
#include "models/stage_model.hpp"
#include "tests/catch.hpp"

using namespace collie;

TEST_CASE("a shape has as many parameters as the released model, less the biases that only a Llama has") {
  int compared = 0;
  for (const bench::ModelShape& shape : bench::model_shapes()) {
    if (shape.released_parameters == 0) continue;
    INFO(shape.name);
    const ModelConfig config = parse_model_config(shape.config, shape.name);
    const int64_t output_biases = config.output_bias ? config.num_hidden_layers * config.hidden_size : 0;
    CHECK(parameter_count(config) - output_biases == shape.released_parameters);
    ++compared;
  }
  CHECK(compared == 6);
}
