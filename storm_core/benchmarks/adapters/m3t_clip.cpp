// Runs M3T (github.com/DLR-RM/3DObjectTracking, folder M3T) over one clip of `storm bench tracking`.
//
//   m3t_clip CLIP MODELS           make M3T's models of MODELS/model.obj in folder MODELS (minutes; needs OpenGL)
//   m3t_clip CLIP MODELS OUT [T]   track: region + depth modality, with T region + depth + texture (needs OpenGL)
//
// CLIP and OUT are described in storm_core/benchmarks/protocol.py. The constants are those of M3T's own evaluation on
// YCB-Video (examples/evaluate_ycb_dataset.cpp). Times are CPU times of this process: no image loading, no set-up.

#include <m3t/body.h>
#include <m3t/camera.h>
#include <m3t/common.h>
#include <m3t/depth_model.h>
#include <m3t/depth_modality.h>
#include <m3t/link.h>
#include <m3t/optimizer.h>
#include <m3t/region_modality.h>
#include <m3t/region_model.h>
#include <m3t/renderer_geometry.h>
#include <m3t/silhouette_renderer.h>
#include <m3t/texture_modality.h>
#include <m3t/tracker.h>

#include <ctime>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>

namespace {

struct Clip {
  std::filesystem::path folder;
  m3t::Intrinsics intrinsics{};
  float depth_unit = 0.0f;
  int frames = 0, repeats = 1;
  std::vector<int> strides;
  m3t::Transform3fA start;

  explicit Clip(const std::filesystem::path &path) : folder{path} {
    std::ifstream file{path / "clip.txt"};
    std::map<std::string, std::istringstream> values;
    for (std::string line; std::getline(file, line);) {
      const auto gap = line.find(' ');
      values[line.substr(0, gap)] = std::istringstream{line.substr(gap + 1)};
    }
    values["width"] >> intrinsics.width;
    values["height"] >> intrinsics.height;
    values["fx"] >> intrinsics.fu;
    values["fy"] >> intrinsics.fv;
    values["cx"] >> intrinsics.ppu;
    values["cy"] >> intrinsics.ppv;
    values["depth_unit"] >> depth_unit;
    values["frames"] >> frames;
    values["repeats"] >> repeats;
    for (int stride; values["strides"] >> stride;) strides.push_back(stride);
    for (int row = 0; row < 4; ++row)
      for (int column = 0; column < 4; ++column) values["start"] >> start.matrix()(row, column);
    if (frames < 1 || intrinsics.width < 1) throw std::runtime_error{"no clip in " + path.string()};
  }

  cv::Mat read(const char *name, int type, int index) const {
    cv::Mat image(intrinsics.height, intrinsics.width, type);  // braces would make a list of three numbers
    const auto bytes = static_cast<std::streamoff>(image.total() * image.elemSize());
    std::ifstream file{folder / name, std::ios::binary};
    file.seekg(bytes * index);
    if (!file.read(reinterpret_cast<char *>(image.data), bytes)) throw std::runtime_error{"clip is too short"};
    return image;
  }
};

class ClipColorCamera : public m3t::ColorCamera {
 public:
  explicit ClipColorCamera(const Clip &clip) : m3t::ColorCamera{"color"}, clip_{clip} {
    intrinsics_ = clip.intrinsics;
  }
  bool SetUp() override { return set_up_ = true; }
  bool UpdateImage(bool) override { return true; }
  void Load(int index) { cv::cvtColor(clip_.read("rgb.bin", CV_8UC3, index), image_, cv::COLOR_RGB2BGR); }

 private:
  const Clip &clip_;
};

class ClipDepthCamera : public m3t::DepthCamera {
 public:
  explicit ClipDepthCamera(const Clip &clip) : m3t::DepthCamera{"depth"}, clip_{clip} {
    intrinsics_ = clip.intrinsics;
    depth_scale_ = clip.depth_unit;
  }
  bool SetUp() override { return set_up_ = true; }
  bool UpdateImage(bool) override { return true; }
  void Load(int index) { image_ = clip_.read("depth.bin", CV_16UC1, index); }

 private:
  const Clip &clip_;
};

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

struct Models {
  std::shared_ptr<m3t::Body> body;
  std::shared_ptr<m3t::RegionModel> region;
  std::shared_ptr<m3t::DepthModel> depth;

  explicit Models(const std::filesystem::path &folder) {
    // M3T keeps the path of the mesh in its models and makes them anew for any other, so the mesh lies beside them.
    body = std::make_shared<m3t::Body>("body", folder / "model.obj", 1.0f, true, true,
                                       m3t::Transform3fA::Identity());
    region = std::make_shared<m3t::RegionModel>("region", body, folder / "region_model.bin", 0.8f, 4, 500, 0.05f,
                                                0.002f, false, 2000);
    depth = std::make_shared<m3t::DepthModel>("depth", body, folder / "depth_model.bin", 0.8f, 4, 500, 0.05f, 0.002f,
                                              false, 2000);
    if (!body->SetUp() || !region->SetUp() || !depth->SetUp())
      throw std::runtime_error{"M3T cannot make its models (it needs OpenGL 3.3 and a display)"};
  }
};

// geometry: for the texture modality, null without; one for all runs, since GLFW cannot be started a second time.
void Run(const Clip &clip, const Models &models, const std::shared_ptr<m3t::RendererGeometry> &geometry, int stride,
         int repeat, std::ostream &out) {
  auto color = std::make_shared<ClipColorCamera>(clip);
  auto depth = std::make_shared<ClipDepthCamera>(clip);
  color->SetUp();
  depth->SetUp();
  auto body = std::make_shared<m3t::Body>(*models.body);
  auto link = std::make_shared<m3t::Link>("link", body);

  auto region_modality = std::make_shared<m3t::RegionModality>("region", body, color, models.region);
  region_modality->set_n_unoccluded_iterations(0);
  region_modality->set_n_lines_max(200);
  region_modality->set_use_adaptive_coverage(false);
  region_modality->set_min_continuous_distance(3.0f);
  region_modality->set_function_length(8);
  region_modality->set_distribution_length(12);
  region_modality->set_function_amplitude(0.43f);
  region_modality->set_function_slope(0.5f);
  region_modality->set_learning_rate(1.3f);
  region_modality->set_scales({7, 4, 2});
  region_modality->set_standard_deviations({25.0f, 15.0f, 10.0f});
  region_modality->set_n_histogram_bins(16);
  region_modality->set_learning_rate_f(0.2f);
  region_modality->set_learning_rate_b(0.2f);
  region_modality->set_unconsidered_line_length(0.5f);
  region_modality->set_max_considered_line_length(20.0f);
  region_modality->set_measured_depth_offset_radius(0.01f);
  region_modality->set_measured_occlusion_radius(0.01f);
  region_modality->set_measured_occlusion_threshold(0.03f);
  region_modality->set_reference_contour_length(models.region->max_contour_length());
  region_modality->MeasureOcclusions(depth);
  region_modality->SetUp();
  link->AddModality(region_modality);

  auto depth_modality = std::make_shared<m3t::DepthModality>("depth", body, depth, models.depth);
  depth_modality->set_n_unoccluded_iterations(0);
  depth_modality->set_n_points_max(200);
  depth_modality->set_use_adaptive_coverage(false);
  depth_modality->set_use_depth_scaling(false);
  depth_modality->set_stride_length(0.005f);
  depth_modality->set_considered_distances({0.07f, 0.05f, 0.04f});
  depth_modality->set_standard_deviations({0.05f, 0.03f, 0.02f});
  depth_modality->set_measured_depth_offset_radius(0.01f);
  depth_modality->set_measured_occlusion_radius(0.01f);
  depth_modality->set_measured_occlusion_threshold(0.03f);
  depth_modality->MeasureOcclusions();
  depth_modality->SetUp();
  link->AddModality(depth_modality);

  if (geometry) {
    geometry->ClearBodies();
    geometry->AddBody(body);
    auto renderer = std::make_shared<m3t::FocusedSilhouetteRenderer>("silhouette", geometry, color, m3t::IDType::BODY);
    renderer->AddReferencedBody(body);
    renderer->SetUp();
    auto modality = std::make_shared<m3t::TextureModality>("texture", body, color, renderer);
    modality->set_descriptor_type(m3t::TextureModality::DescriptorType::ORB);
    modality->set_focused_image_size(200);
    modality->set_descriptor_distance_threshold(0.7f);
    modality->set_tukey_norm_constant(20.0f);
    modality->set_standard_deviations({10.0f, 10.0f, 3.0f});
    modality->set_max_keyframe_rotation_difference(10.0f * m3t::kPi / 180.0f);
    modality->set_max_keyframe_age(1000);
    modality->set_n_keyframes(1);
    modality->set_orb_n_features(300);
    modality->set_orb_scale_factor(1.2f);
    modality->set_orb_n_levels(3);
    modality->set_measured_occlusion_radius(0.01f);
    modality->set_measured_occlusion_threshold(0.03f);
    modality->MeasureOcclusions(depth);
    modality->SetUp();
    link->AddModality(modality);
  }

  link->SetUp();
  auto optimizer = std::make_shared<m3t::Optimizer>("optimizer", link);
  optimizer->set_tikhonov_parameter_rotation(1000.0f);
  optimizer->set_tikhonov_parameter_translation(30000.0f);
  optimizer->SetUp();
  m3t::Tracker tracker{"tracker"};
  tracker.set_n_update_iterations(2);
  tracker.set_n_corr_iterations(4);
  tracker.AddOptimizer(optimizer);
  if (!tracker.SetUp(false)) throw std::runtime_error{"M3T's tracker cannot be set up"};

  for (int index = 0, iteration = 0; index < clip.frames; index += stride, ++iteration) {
    color->Load(index);
    depth->Load(index);
    if (index == 0) {
      body->set_body2world_pose(clip.start);
      tracker.StartModalities(0);
    }
    const double begin = CpuSeconds();
    if (!tracker.ExecuteTrackingStep(iteration)) throw std::runtime_error{"M3T's tracking step failed"};
    const double seconds = CpuSeconds() - begin;
    if (index == 0) continue;  // given, not found
    out << "pose " << stride << ' ' << repeat << ' ' << index << ' ' << 1e3 * seconds;
    for (int row = 0; row < 4; ++row)
      for (int column = 0; column < 4; ++column) out << ' ' << body->body2world_pose().matrix()(row, column);
    out << '\n';
  }
}

}  // namespace

int main(int argc, char *argv[]) {
  if (argc < 3 || argc > 5) {
    std::cerr << "usage: m3t_clip CLIP MODELS [OUT [T]]" << std::endl;
    return 2;
  }
  try {
    const Clip clip{argv[1]};
    const Models models{argv[2]};
    if (argc == 3) return 0;
    std::shared_ptr<m3t::RendererGeometry> geometry;
    if (argc == 5) {
      geometry = std::make_shared<m3t::RendererGeometry>("geometry");
      if (!geometry->SetUp()) throw std::runtime_error{"M3T's texture modality needs OpenGL 3.3 and a display"};
    }
    std::ofstream out{argv[3]};
    out << std::setprecision(9);
    for (int stride : clip.strides)
      for (int repeat = 0; repeat < clip.repeats; ++repeat) Run(clip, models, geometry, stride, repeat, out);
    if (!out.flush()) throw std::runtime_error{std::string{"cannot write "} + argv[3]};
  } catch (const std::exception &error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
  return 0;
}
