package finetune

import "regexp"

// table matches the files that hold rows.
var table = regexp.MustCompile(`(?i)\.(csv|tsv|jsonl|ndjson)(\.gz)?$`)

// OfPictures reports whether the data is pictures: there is a section pictures or a column of them, or data.train is no
// table.
func (s *Spec) OfPictures() bool {
	if s.Pictures != nil || s.Data.Columns.Image != "" {
		return true
	}
	return s.Data.Columns.Text == "" && s.Data.Train != "" && !table.MatchString(s.Data.Train)
}

// resolvePictures is resolve's part for pictures.
func (s *Spec) resolvePictures(f *faults) {
	s.Head.resolveClasses(f)
	f.check(s.Head.Pooling == "", "head.pooling", "is for texts")
	f.check(s.Head.Dropout == nil, "head.dropout", "is for texts")

	d := &s.Data
	f.required("data.train", d.Train, "a folder with a folder of pictures for each class, a .csv, .tsv or .jsonl file, or an idx file")
	if table.MatchString(d.Train) {
		f.required("data.columns.image", d.Columns.Image, "the name of the column with the pictures' paths")
		f.required("data.columns.label", d.Columns.Label, "the name of the column with the classes")
	}
	f.check(d.Columns.Text == "" && d.Columns.Pair == "", "data.columns.text", "is for texts, and data.columns.image or pictures is for pictures")
	f.check(d.MaxLength == 0, "data.max_length", "is for texts")
	f.check(d.PerClass >= 0, "data.per_class", "must be 0 (all) or above, found %d", d.PerClass)
	f.choice("data.other_classes", &d.OtherClasses, "fail", "skip")
	var err error
	d.Test, err = cleanTest(d.Test)
	f.check(err == nil, "data.test", "%v", err)
	f.check(s.Batch.Tokens == 0, "batch.tokens", "is for texts")

	if s.Pictures == nil {
		s.Pictures = &Pictures{}
	}
	p := s.Pictures
	f.check(p.Size == 0 || 8 <= p.Size && p.Size <= 4096, "pictures.size", "must be 0 (the model's own) or from 8 to 4096 pixels, found %d", p.Size)
	f.check(p.Resize == 0 || p.Resize >= p.Size && p.Resize <= 8192, "pictures.resize", "must be 0 (the model's own) or from pictures.size, %d, to 8192 pixels, found %d", p.Size, p.Resize)
	f.choice("pictures.augment", &p.Augment, "crop", "flip", "randaugment", "trivialaugment", "none")
	if p.Scale == [2]float64{} && !f.source.given("pictures.scale") {
		p.Scale = [2]float64{0.08, 1}
	}
	f.check(0 < p.Scale[0] && p.Scale[0] <= p.Scale[1] && p.Scale[1] <= 1, "pictures.scale", "must be two shares of the area, rising, above 0 and at most 1, found %v", p.Scale)
	f.check(0 <= p.Erase && p.Erase <= 1, "pictures.erase", "must be a probability, found %v", p.Erase)
	f.check(p.MixUp == 0 || positive(p.MixUp), "pictures.mixup", "must be 0 (off) or above, found %v", p.MixUp)
	f.check(p.CutMix == 0 || positive(p.CutMix), "pictures.cutmix", "must be 0 (off) or above, found %v", p.CutMix)
	f.choice("pictures.unreadable", &p.Unreadable, "fail", "skip")
	f.check(0 <= p.Workers && p.Workers <= 1024, "pictures.workers", "must be 0 (one for each core) or from 1 to 1024, found %d", p.Workers)
}
